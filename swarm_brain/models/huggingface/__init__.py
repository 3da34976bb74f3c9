"""The provider `huggingface:`: a local transformers pipeline with batched generation.

Functions import torch, transformers and the libraries beside them, which are an extra and take
seconds to import.
"""
