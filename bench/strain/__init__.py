"""Under strain: a bank that is silent, and twice as many bills as can be served, each against its target."""
