"""How a candidate becomes champion, and how it goes back: rollout, guards, promote, rollback."""
