"""The front door: a process apart from the controller, so that request load cannot starve decisions.

A call's way: servicer → router (which instance) → execute stream → runner, and the bytes of the answer back.
"""
