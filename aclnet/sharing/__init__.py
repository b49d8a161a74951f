"""Cards of stores and runs, and the exchange with the Hugging Face Hub."""
