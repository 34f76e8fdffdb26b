"""From runs to answers: intervals and paired tests, baselines, tables, conclusions, figures, the page of results."""
