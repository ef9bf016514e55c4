"""rtfeedback: neurofeedback on fMRI activity that is predicted from EEG.

Research use only; not yet validated on real paired EEG-fMRI.
"""

__version__ = "0.1.0"
