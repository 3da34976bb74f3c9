"""Models: the only place that imports a vendor, and only when its model is used.

One string `provider:model` names a model. `choose.bind` makes it callable; `calls.client.ask` is
how every call is made.
"""
