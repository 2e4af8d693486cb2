"""What pyproject.toml cannot say: the packages, all of rnnlab/, and configs/ as `rnnlab.configs`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["rnnlab", "rnnlab.*"]), "rnnlab.configs"],
    package_dir={"rnnlab.configs": "configs"},
)
