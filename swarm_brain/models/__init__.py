"""Models. Vendors are imported here only, and only when their model is used.

One string `provider:model` names a model. `choose.bind` makes it callable, and `calls.client.ask`
makes every call.
"""
