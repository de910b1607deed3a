"Packaging; everything that may change lives in settings.ini."
from configparser import ConfigParser
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
settings = ConfigParser(delimiters=['='])
settings.read(here / 'settings.ini', encoding='utf-8')
cfg = settings['DEFAULT']
readme = here / 'README.md'
extras = {name: cfg[f'{name}_requirements'].split() for name in ('lab', 'cluster', 'dev')}
extras['dev'] += extras['lab'] + extras['cluster']


class WithCourse(build_py):
    "A wheel carries the notebooks, too, for `videodirector lessons`; an editable install finds them in the checkout."

    def run(self):
        super().run()
        if self.editable_mode: return
        course = Path(self.build_lib, cfg['lib_path'], 'course')
        rmtree(course, ignore_errors=True)  # of an earlier build
        copytree(here / cfg['nbs_path'], course, ignore=ignore_patterns('.*'))


setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else cfg['description'],
    long_description_content_type='text/markdown',
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='Apache-2.0',
    keywords=cfg['keywords'].split(),
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Natural Language :: English',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
    ],
    python_requires=f">={cfg['min_python']},<3.14",
    packages=find_packages(include=['videodirector', 'videodirector.*']),
    package_data={'videodirector': ['weights/**/*', 'widgets/*']},
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    cmdclass={'build_py': WithCourse},
    entry_points={
        'console_scripts': cfg['console_scripts'].split(),
        'nbdev': [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"],
    },
    zip_safe=False,
)
