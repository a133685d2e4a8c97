"""Images and clips: how many tokens a processor makes of them, and what passes a model's encoders.

Each family of processors is a small class with the numbers of its `preprocessor_config.json`; `passes` tells what one image
of a given width and height, or one clip of a given length, becomes.
"""
