"""What a model can do: reconstruction, grids, and how well images follow their prompts."""
