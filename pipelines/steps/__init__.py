"""Steps from a raw sequence to a stored one: cleaning, tracking, converting, normalising."""
