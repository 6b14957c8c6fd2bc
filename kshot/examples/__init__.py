"""Small plug-ins that fulfil the contract, which ``kshot new`` copies under another name."""
