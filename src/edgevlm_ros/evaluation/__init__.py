# SPDX-License-Identifier: Apache-2.0
"""What a run was worth: streaming accuracy, latencies, and the report that shows them."""
