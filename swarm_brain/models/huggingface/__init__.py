"""The provider `huggingface:`: a local transformers pipeline with batched generation."""
