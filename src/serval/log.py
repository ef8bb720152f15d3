"""stub"""
import logging
error_log = logging.getLogger("serval.error")
