"""The provider `huggingface:`: local transformers, generating in batches.

Functions import torch, transformers and the libraries beside them, which are an extra and take
seconds to import.
"""
