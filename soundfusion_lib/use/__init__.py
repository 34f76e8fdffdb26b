"""What a trained network is good for afterwards: hearing files of any length, along time; an exported folder with a
model card and an ONNX graph; and the one that comes with the project, trained on Emotify.

May import all rooms up to analysis and what stands beside the rooms.
"""
