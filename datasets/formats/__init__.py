"""From bytes to arrays, safely: files and archives, npy and npz, restricted pickles."""
