"""What GPUs cost: prices, a meter over recorded facts, the ledger, and what would cost less."""
