#!/usr/bin/env bash
# Rebuilds the folder of freely licensed photographs that the image autoencoder sees next to the rendered world.
# Usage: fetch_photos.sh OUT_FOLDER [FOLDER_FOR_PACKAGES]
# Needs Debian 12 (apt-get, dpkg) and Python with Pillow (choose it with PYTHON=...). Installs nothing.
set -euo pipefail
out=${1:?usage: fetch_photos.sh OUT_FOLDER [FOLDER_FOR_PACKAGES]}
debs=${2:-$(mktemp -d)}
mkdir -p "$out" "$debs"
out=$(realpath "$out"); cd "$debs"
cat > list.txt <<'LIST'
mate-backgrounds|usr/share/backgrounds/mate/nature/Aqua.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/Blinds.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/Dune.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/FreshFlower.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/Garden.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/GreenMeadow.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/LadyBird.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/RainDrops.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/Storm.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/TwoWings.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/Wood.jpg
mate-backgrounds|usr/share/backgrounds/mate/nature/YellowFlower.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/Bridge_by_Sander_Klootwijk.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/Dragonfly_by_Bolly.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/Picture_0B_by_freespace.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/Picture_1A_by_freespace.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/Wine_by_Jakkub_Mede.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/aitzgorri_by_Aitzol_Berasategi.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/friends_by_Aitzol_Berasategi.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/life_by_Aitzol_Berasategi.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/picosdeeuropa_by_Aitzol_Berasategi.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg
lomiri-wallpapers-16.04|usr/share/backgrounds/sunset_by_Aitzol_Berasategi.jpg
lomiri-wallpapers-20.04|usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg
lxqt-themes|usr/share/lxqt/wallpapers/Butterfly-Kenneth-Wimer.jpg
lxqt-themes|usr/share/lxqt/wallpapers/Valendas.png
lxqt-themes|usr/share/lxqt/wallpapers/after-the-rain.jpg
lxqt-themes|usr/share/lxqt/wallpapers/appleflower.png
lxqt-themes|usr/share/lxqt/wallpapers/beam.png
lxqt-themes|usr/share/lxqt/wallpapers/butterfly.png
lxqt-themes|usr/share/lxqt/wallpapers/cloud.png
lxqt-themes|usr/share/lxqt/wallpapers/drop.png
lxqt-themes|usr/share/lxqt/wallpapers/flowers.png
lxqt-themes|usr/share/lxqt/wallpapers/fog.jpg
lxqt-themes|usr/share/lxqt/wallpapers/this-is-not-windows.jpg
python3-skimage|usr/lib/python3/dist-packages/skimage/data/astronaut.png
python3-skimage|usr/lib/python3/dist-packages/skimage/data/brick.png
python3-skimage|usr/lib/python3/dist-packages/skimage/data/coffee.png
python3-skimage|usr/lib/python3/dist-packages/skimage/data/grass.png
python3-skimage|usr/lib/python3/dist-packages/skimage/data/gravel.png
python3-skimage|usr/lib/python3/dist-packages/skimage/data/rocket.jpg
python3-sklearn|usr/lib/python3/dist-packages/sklearn/datasets/images/china.jpg
python3-sklearn|usr/lib/python3/dist-packages/sklearn/datasets/images/flower.jpg
palapeli-data|usr/share/palapeli/collection/castle-maintenon.jpg
palapeli-data|usr/share/palapeli/collection/cincinnati-bridge.jpg
palapeli-data|usr/share/palapeli/collection/citrus-fruits.jpg
palapeli-data|usr/share/palapeli/collection/european-honey-bee.jpg
palapeli-data|usr/share/palapeli/collection/panther-chameleon-female.jpg
libjxl-testdata|usr/share/libjxl-testdata/external/wesaturate/500px/cvo9xd_keong_macan_srgb8.png
libjxl-testdata|usr/share/libjxl-testdata/external/wesaturate/500px/tmshre_riaphotographs_srgb8.png
libjxl-testdata|usr/share/libjxl-testdata/external/wesaturate/500px/u76c0g_bliznaca_srgb8.png
libjxl-testdata|usr/share/libjxl-testdata/jxl/flower/flower.png
plasma-workspace-wallpapers|usr/share/wallpapers/BytheWater/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/ColdRipple/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/ColorfulCups/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/DarkestHour/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/EveningGlow/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/FallenLeaf/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/Grey/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/Kite/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/OneStandsOut/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/Path/contents/images/2560x1600.jpg
plasma-workspace-wallpapers|usr/share/wallpapers/summer_1am/contents/images/2560x1600.jpg
gcompris-qt-data|usr/share/gcompris-qt/rcc/clickgame.rcc:gcompris/src/activities/clickgame/resource/sea1.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/clickgame.rcc:gcompris/src/activities/clickgame/resource/sea2.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/clickgame.rcc:gcompris/src/activities/clickgame/resource/sea3.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/clickgame.rcc:gcompris/src/activities/clickgame/resource/sea4.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/clickgame.rcc:gcompris/src/activities/clickgame/resource/sea5.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/clickgame.rcc:gcompris/src/activities/clickgame/resource/sea6.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/details.rcc:gcompris/src/activities/details/resource/image/EgeskovSlotSpejling_background.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/details.rcc:gcompris/src/activities/details/resource/image/EilanDonanCastle_background.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/details.rcc:gcompris/src/activities/details/resource/image/GizahPyramids_background.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/details.rcc:gcompris/src/activities/details/resource/image/Neuschwanstein_background.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/details.rcc:gcompris/src/activities/details/resource/image/TajMahal_background.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/cat.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/chicken.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/cow.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/dog.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/duck.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/pig.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/sheep.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/arlesAmphitheater.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/chateaudeChambord.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/chateaudeChenonceau.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/citedeCarcassonne.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/eiffelTower.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/montStMichel.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/palaisdesPapes.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/pontduGard.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/reimsCathedral.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/france/rocamadour.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/ajantaCave.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/charminar.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/gatewayofIndia.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/goldenTemple.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/greatStupa.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/hawaMahal.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/konarkSunTemple.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/mysorePalace.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/qutubMinar.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/rangGhar.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/india/victoriaMemorial.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/chichenItza.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/christTheRedeemer.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/colosseum.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/greatWallofChina.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/machuPicchu.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/petra.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_monuments.rcc:gcompris/src/activities/explore_monuments/resource/wonders/tajMahal.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/chameleon.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/crocodile.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/dragon.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/koala.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/lemur.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/moose.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/panda.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/polar_bear.webp
gcompris-qt-data|usr/share/gcompris-qt/rcc/explore_world_animals.rcc:gcompris/src/activities/explore_world_animals/resource/animals/scarlet_macaw.webp
LIST
for package in $(cut -d'|' -f1 list.txt | sort -u); do
  ls "${package}"_*.deb >/dev/null 2>&1 || apt-get download "$package"
  [ -d "x/$package" ] || { mkdir -p "x/$package"; dpkg -x "${package}"_*.deb "x/$package"; }
done
"${PYTHON:-python3}" - "$out" <<'PY'
"Reads list.txt (package|path, or package|bundle.rcc:path), writes JPEGs with a short side of 512 px and zoomed-in crops."
import functools, io, random, struct, sys, zlib
from pathlib import Path
from PIL import Image, ImageFilter, ImageOps, ImageStat

out, side, limit = Path(sys.argv[1]), 512, 28_000_000
Image.MAX_IMAGE_PIXELS = None

@functools.lru_cache(1)
def bundle(path):
    "All files of an uncompressed or zlib-compressed Qt resource bundle (.rcc), as {path: bytes}."
    b, files = Path(path).read_bytes(), {}
    version, tree, data, names = struct.unpack('>4I', b[4:20])
    size = 14 if version == 1 else 22
    def walk(i, parts):
        at = tree + i * size
        name, flags = struct.unpack('>IH', b[at:at + 6])
        if i:
            n = struct.unpack('>H', b[names + name:names + name + 2])[0]
            parts = parts + [b[names + name + 6:names + name + 6 + 2 * n].decode('utf-16-be')]
        if flags & 2:
            count, first = struct.unpack('>II', b[at + 6:at + 14])
            for k in range(first, first + count): walk(k, parts)
        else:
            start = data + struct.unpack('>I', b[at + 10:at + 14])[0]
            raw = b[start + 4:start + 4 + struct.unpack('>I', b[start:start + 4])[0]]
            files['/'.join(parts)] = zlib.decompress(raw[4:]) if flags & 1 else raw
    walk(0, [])
    return files

def load(package, path):
    if '.rcc:' in path:
        rcc, inner = path.split(':')
        return Image.open(io.BytesIO(bundle(f'x/{package}/{rcc}')[inner]))
    return Image.open(f'x/{package}/{path}')

def scaled(image, short):
    s = short / min(image.size)
    return image.resize((max(short, round(image.width * s)), max(short, round(image.height * s))), Image.LANCZOS)

def busy(image):
    return ImageStat.Stat(image.convert('L').filter(ImageFilter.FIND_EDGES)).mean[0]

def crops(image, name):
    "The centre and the busiest of eight random windows of the photograph at twice the scale."
    big, rng = scaled(image, 2 * side), random.Random(name)
    at = lambda x, y: big.crop((x, y, x + side, y + side))
    dx, dy = big.width - side, big.height - side
    yield 'centre', at(dx // 2, dy // 2)
    yield 'random', max((at(rng.randint(0, dx), rng.randint(0, dy)) for _ in range(8)), key=busy)

photos, total = [], 0
def save(image, name):
    global total
    image.save(out / f'{name}.jpg', quality=92)
    total += (out / f'{name}.jpg').stat().st_size

extra = []
for line in Path('list.txt').read_text().split():
    package, path = line.split('|')
    image = load(package, path)
    image.draft('RGB', (4 * side, 4 * side))
    image = ImageOps.exif_transpose(image).convert('RGB')
    stem = path.split('/contents/')[0] if '/contents/' in path else path.rsplit('.', 1)[0]
    name = f"{package}-{'-'.join(stem.replace(':', '/').split('/')[-2:])}"
    name = name.replace('resource-', '').replace('images-', '').replace('backgrounds-', '').replace('wallpapers-wallpapers', 'wallpapers')
    save(scaled(image, side), name)
    if min(image.size) >= 1000: extra += [(n, i, f'{name}-{n}') for n, i in crops(image, name)]
    photos.append(name)
assert len(set(photos)) == len(photos), 'two photographs got the same name'
for kind, image, name in sorted(extra, key=lambda e: (e[0], -busy(e[1]))):
    if kind == 'random' and busy(image) < 6: continue  # nothing but blur
    if total < limit - 300_000: save(image, name)
print(len(photos), 'photographs,', len(list(out.glob('*.jpg'))), 'files,', round(total / 1e6, 1), 'MB')
PY
