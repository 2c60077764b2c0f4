"""The engine: one model on one device, denoising many requests in one continuous batch."""
