"""From stored sequences to the input of a network: clips, augmentation, features, corruptions."""
