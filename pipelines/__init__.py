"""Processing of sequences: cleaning, normalising, sampling, features, augmentation, prepare."""

if __name__ == "pipelines":
    raise ImportError("this folder is the package aclnet.pipelines; import it by that name")
