"""Where runs come from: layouts, BIDS, tables of pairs, MATLAB files, downloads."""
