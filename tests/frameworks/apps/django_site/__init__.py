"""A Django project as a site would have it, with a view for each way to take a request and to answer one."""
