"""How a candidate comes to be after drift: triggers, policies, actions, budgets."""
