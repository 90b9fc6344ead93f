"""Arrays -> a trained run with its stored probabilities. With ``models`` the only folder that names Keras."""
