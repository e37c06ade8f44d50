"""What was published: a folder a net, generated files and a card. Data, no code."""
