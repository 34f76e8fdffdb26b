"""What is studied: profiles, the report's protocol as experiments, and the study that trains them."""
