"""Tokenizer, VAE, latents and UNet, each restartable from its checkpoint, and their export.

``trainer.py`` runs any task in processes of one thread that share one set of weights; ``vae_task.py`` and
``unet_task.py`` are the two tasks.
"""
