from .metrics_report import write_report as write_report
from .report_page import write_page as write_page
