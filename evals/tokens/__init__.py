"""The study of tokens: entropy and survivors along solutions."""
