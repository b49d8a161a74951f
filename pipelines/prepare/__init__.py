"""Raw recordings to a finished store, in two stages that can be interrupted at any point."""
