"""The published lifting models: plain nn.Modules that fulfil the contract in lifter.py."""
