"""How the shipped model ``tiny-emoji`` is made: ``python -m tools.tiny_emoji all --out DIR``.

``scenes`` composes captioned training images from the art in ``data/``, ``training`` makes tokenizer, VAE, latents
and UNet and exports them, ``measure`` draws grids and counts how well images follow their prompts. README.md tells
the phases and how to stop, pause and go on.
"""
