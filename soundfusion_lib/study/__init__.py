"""What is studied: profiles, the report's numbers and its protocol as experiments, and the study that trains them.

May import corpora, signals, models, training and what stands beside the rooms.
"""
