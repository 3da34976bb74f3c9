"""What commands show on a terminal: live experts, approvals, sessions, safe text."""
