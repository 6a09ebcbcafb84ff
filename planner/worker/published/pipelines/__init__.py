"""Pipelines of diffusers in the child: encoders, denoiser and decoder, called as a user does."""
