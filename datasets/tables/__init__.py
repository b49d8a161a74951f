"""Tables of facts: layouts, class names, lists of unusable recordings."""
