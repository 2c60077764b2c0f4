"""The engine: one model on one device, denoising many requests in one continuous batch.

``engine.py`` is the loop, plan -> run -> retire. ``batch.py`` holds the samples that share a UNet call,
``samplers.py`` and ``schedule.py`` their arithmetic, ``denoise.py`` the call itself, ``decode/`` VAE chunking.
Importing this package imports no torch; import what you need from its modules.
"""
