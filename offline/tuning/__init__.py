"""How a recipe's open keys are chosen: where values are looked for, trials, and their study."""
