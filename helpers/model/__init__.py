"""The network: trained, and measured."""
