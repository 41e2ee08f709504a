"""A look after every commit, beside what the world outside was asked, told and promised."""
