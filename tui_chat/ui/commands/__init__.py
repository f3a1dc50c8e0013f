"""The implementation of every action, however the user invokes it: key, slash command or menu."""
