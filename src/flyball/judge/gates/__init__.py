"""Rules over evidence that a version must pass; too little evidence is an answer of its own."""
