"""The asyncio server that verifies payment tokens and settles them against wallets."""
