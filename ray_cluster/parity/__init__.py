"""Parity: are the features that the endpoint served those that training would retrieve for the same entity and time?"""
