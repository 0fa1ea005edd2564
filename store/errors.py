"""The parent of every error that a user can cause, and the store's warning: light, so that every command knows them."""

from __future__ import annotations


class DeadheatError(ValueError):
    """A mistake of the user or of the world: one line that says where, what, what was expected and what to do."""


class StoreWarning(UserWarning):
    """Something of a store was left out of the answers."""
