"""How a version answers: protocols, router, predictors, isolation, server. Needs no database."""
