"""Writers of motion for other programs: BVH, GLB, TRC and a table of joint angles."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mocap3d.formats.animation import animate, least_rotation, unit, y_up
from mocap3d.poses import Pose3D
from mocap3d.skeleton import H36M17, H36M19

PREFIXES = {"mixamo": "mixamorig:", "lafan1": ""}  # of joint names
COLOURS = {"Left": (0.0, 0.45, 0.7), "Right": (0.84, 0.37, 0.0)}  # of bones in GLB; the others are grey
GREY = (0.45, 0.45, 0.45)


def write_bvh(pose: Pose3D, path: Path, names: str) -> None:
    """Centimetres, y up, T-pose at rest, Euler angles Z X Y in degrees without jumps of 360.

    Source: Biovision's format (Univ. of Wisconsin CS-838, 1999).
    """
    motion = animate(pose)
    lines, order = ["HIERARCHY"], []

    def node(joint: int, depth: int) -> None:
        order.append(joint)
        tab, name = "\t" * depth, PREFIXES[names] + motion.joints[joint]
        place = "CHANNELS 6 Xposition Yposition Zposition" if joint == 0 else "CHANNELS 3"
        lines.extend([f"{tab}{'ROOT' if joint == 0 else 'JOINT'} {name}", f"{tab}{{"])
        lines.extend(
            [f"{tab}\tOFFSET {_words(motion.offsets[joint])}", f"{tab}\t{place} Zrotation Xrotation Yrotation"]
        )
        for child in (k for k, parent in enumerate(motion.parents) if parent == joint):
            node(child, depth + 1)
        if motion.joints[joint] in motion.ends:
            end = _words(motion.ends[motion.joints[joint]])
            lines.extend([f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\tOFFSET {end}", f"{tab}\t}}"])
        lines.append(f"{tab}}}")

    node(0, 0)
    angles = np.degrees(np.unwrap(_euler_zxy(motion.rotations[:, order]), axis=0))  # (T, J, 3)
    rows = np.concatenate([100 * motion.root, angles.reshape(len(angles), -1)], axis=-1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / motion.fps:.9g}"]
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, rows, "%.5f")


def _words(metres: np.ndarray) -> str:
    return " ".join(f"{100 * value + 0.0:.6f}" for value in metres)


def _euler_zxy(rotations: np.ndarray) -> np.ndarray:
    """(..., 3) radians a, b, c with rotations = Rz(a) Rx(b) Ry(c)."""
    b = np.arcsin(np.clip(rotations[..., 2, 1], -1, 1))
    a = np.arctan2(-rotations[..., 0, 1], rotations[..., 1, 1])
    c = np.arctan2(-rotations[..., 2, 0], rotations[..., 2, 2])
    return np.stack([a, b, c], axis=-1)


def write_trc(pose: Pose3D, path: Path, names: str) -> None:
    """Joint positions in metres, y up, as OpenSim reads them; a missing joint is an empty cell.

    Source: the TRC format as described in OpenSim's documentation ("Marker (.trc) Files").
    """
    points = y_up(pose)
    joints, frames = pose.skeleton.joints, len(points)
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(["PathFileType", 4, "(X/Y/Z)", f"{pose.skeleton.name}.trc"])
        fields = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"
        rows.writerow(fields.split())
        rows.writerow([f"{pose.fps:g}", f"{pose.fps:g}", frames, len(joints), "m", f"{pose.fps:g}", 1, frames])
        rows.writerow(["Frame#", "Time", *(word for joint in joints for word in (joint, "", ""))])
        rows.writerow(["", "", *(f"{axis}{number}" for number in range(1, len(joints) + 1) for axis in "XYZ")])
        rows.writerow([])
        for number, (time, row) in enumerate(zip(pose.times, points.reshape(frames, -1).tolist(), strict=True), 1):
            rows.writerow([number, f"{time:.6f}", *("" if np.isnan(value) else f"{value:.6f}" for value in row)])


def joint_angles(pose: Pose3D) -> dict[str, np.ndarray]:
    """Angles of the joints, as in motion analysis: degrees, (T,) each, NaN where a joint is missing.

    Flexion of knee and elbow is 0 when straight. Hip: flexion forwards and abduction sideways of the thigh, seen from
    the pelvis; shoulder: those of the upper arm, seen from the trunk. Trunk: lean against the vertical, forwards and to
    the left, which is right only if the pose's vertical is (world frame, or a levelled camera).

    Args:
        pose: any skeleton with a conversion to h36m17. Ankles have an angle on h36m19, which has toes: 0 where they are
            at a right angle to the shin, above 0 where they are nearer to it.
    Source: own, after the joint coordinate systems of the ISB (Wu et al. 2002, 2005), simplified to joint positions.
    """
    points = y_up(pose.convert("h36m17"))
    at = {joint: points[:, i] for i, joint in enumerate(H36M17.joints)}
    trunk = unit(at["thorax"] - at["pelvis"])
    found = {}
    for side, sign in (("left", 1), ("right", -1)):
        for first, middle, last in (("hip", "knee", "foot"), ("shoulder", "elbow", "wrist")):
            upper = at[f"{side}_{middle}"] - at[f"{side}_{first}"]
            lower = at[f"{side}_{last}"] - at[f"{side}_{middle}"]
            aside, up, ahead = _axes(at[f"left_{first}"] - at[f"right_{first}"], trunk, upper)
            found[f"{side}_{first}_flexion"] = np.degrees(np.arctan2(ahead, -up))
            found[f"{side}_{first}_abduction"] = np.degrees(np.arctan2(sign * aside, np.hypot(up, ahead)))
            cosine = (unit(upper) * unit(lower)).sum(-1)
            found[f"{side}_{middle}_flexion"] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        if pose.skeleton == H36M19:
            toes = y_up(pose)[:, H36M19.index(f"{side}_toe")]
            shin, foot = (unit(end - at[f"{side}_foot"]) for end in (at[f"{side}_knee"], toes))
            found[f"{side}_ankle_flexion"] = np.degrees(np.arcsin(np.clip((shin * foot).sum(-1), -1, 1)))
    upright = np.broadcast_to([0.0, 1.0, 0.0], trunk.shape)
    aside, up, ahead = _axes(at["left_hip"] - at["right_hip"], upright, trunk)
    return found | {"trunk_forward": np.degrees(np.arctan2(ahead, up)), "trunk_left": np.degrees(np.arctan2(aside, up))}


def _axes(side: np.ndarray, up: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """(3, T): a bone to the left, up and forwards of a body; up as given, side as near as can be."""
    side = unit(side - (side * up).sum(-1, keepdims=True) * up)
    return np.stack([(bone * axis).sum(-1) for axis in (side, up, np.cross(side, up))])


def write_angles(pose: Pose3D, path: Path, names: str) -> None:
    """`joint_angles` as a table: frame, time in seconds, degrees."""
    angles = joint_angles(pose)
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["frame", "time", *(f"{name}_deg" for name in angles)])
        for number, (time, row) in enumerate(zip(pose.times, zip(*angles.values(), strict=True), strict=True)):
            rows.writerow([number, f"{time:.6f}", *("" if np.isnan(value) else f"{value:.3f}" for value in row)])


def write_glb(pose: Pose3D, path: Path, names: str) -> None:
    """glTF 2.0 in one binary file: a node per joint, turned frame by frame, and a capsule per bone.

    Raises:
        ImportError: without pygltflib.
    Source: own; the format as specified by Khronos (glTF 2.0).
    """
    try:
        import pygltflib as gltf
    except ImportError:
        raise ImportError('writing .glb needs pygltflib: pip install "mocap3d[video]"') from None
    motion = animate(pose)
    file = gltf.GLTF2(asset=gltf.Asset(version="2.0", generator="mocap3d"), scene=0)
    blob = bytearray()

    def accessor(values: np.ndarray, kind: str, target: int | None = None) -> int:
        values = np.ascontiguousarray(values)
        component = gltf.UNSIGNED_SHORT if values.dtype == np.uint16 else gltf.FLOAT
        view = gltf.BufferView(buffer=0, byteOffset=len(blob), byteLength=values.nbytes, target=target)
        file.bufferViews.append(view)
        lowest, highest = (np.atleast_1d(edge(axis=0)).tolist() for edge in (values.min, values.max))
        of = {"bufferView": len(file.bufferViews) - 1, "count": len(values), "min": lowest, "max": highest}
        file.accessors.append(gltf.Accessor(componentType=component, type=kind, **of))
        blob.extend(values.tobytes() + b"\0" * (-values.nbytes % 4))
        return len(file.accessors) - 1

    for colour in (GREY, *COLOURS.values()):
        surface = gltf.PbrMetallicRoughness(baseColorFactor=[*colour, 1.0], metallicFactor=0.0, roughnessFactor=0.8)
        file.materials.append(gltf.Material(pbrMetallicRoughness=surface))
    children = [[k for k, parent in enumerate(motion.parents) if parent == j] for j in range(len(motion.joints))]
    for joint, name in enumerate(motion.joints):
        file.nodes.append(
            gltf.Node(name=PREFIXES[names] + name, children=[*children[joint]], translation=[*motion.offsets[joint]])
        )
    for joint, name in enumerate(motion.joints):
        ends = (
            [motion.ends[name]]
            if name in motion.ends
            else [*np.unique([motion.offsets[k] for k in children[joint]], axis=0)]
        )
        material = next((k for k, side in enumerate(COLOURS, start=1) if name.startswith(side)), 0)
        for end in (end for end in ends if np.linalg.norm(end) > 1e-3):
            points, normals, triangles = _capsule(end)
            attributes = gltf.Attributes(
                POSITION=accessor(points, gltf.VEC3, gltf.ARRAY_BUFFER),
                NORMAL=accessor(normals, gltf.VEC3, gltf.ARRAY_BUFFER),
            )
            indices = accessor(triangles, gltf.SCALAR, gltf.ELEMENT_ARRAY_BUFFER)
            file.meshes.append(
                gltf.Mesh(primitives=[gltf.Primitive(attributes=attributes, indices=indices, material=material)])
            )
            file.nodes.append(gltf.Node(name=f"{name} bone", mesh=len(file.meshes) - 1))
            file.nodes[joint].children.append(len(file.nodes) - 1)
    file.scenes.append(gltf.Scene(nodes=[0]))
    times = accessor((np.arange(len(motion.root)) / motion.fps).astype(np.float32), gltf.SCALAR)
    moves = gltf.Animation(name="motion")
    tracks = [(0, "translation", motion.root.astype(np.float32), gltf.VEC3)]
    tracks += [(k, "rotation", _quaternions(motion.rotations[:, k]), gltf.VEC4) for k in range(len(motion.joints))]
    for joint, channel, values, kind in tracks:
        moves.samplers.append(gltf.AnimationSampler(input=times, output=accessor(values, kind)))
        target = gltf.AnimationChannelTarget(node=joint, path=channel)
        moves.channels.append(gltf.AnimationChannel(sampler=len(moves.samplers) - 1, target=target))
    file.animations.append(moves)
    file.buffers.append(gltf.Buffer(byteLength=len(blob)))
    file.set_binary_blob(bytes(blob))
    file.save_binary(str(path))


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """(T, 4) x, y, z, w, without changes of sign from frame to frame, between which viewers would turn the long way."""
    from scipy.spatial.transform import Rotation

    values = Rotation.from_matrix(rotations).as_quat()
    signs = np.where((values[1:] * values[:-1]).sum(-1) < 0, -1.0, 1.0)
    return (values * np.cumprod([1.0, *signs])[:, None]).astype(np.float32)


def _capsule(end: np.ndarray, around: int = 12, along: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3), normals (N, 3) and triangles (M,) of a capsule from the origin to `end`, metres."""
    length = np.linalg.norm(end)
    radius = np.clip(0.13 * length, 0.018, 0.05)
    latitude = np.radians([*np.linspace(-90, 0, along + 1), *np.linspace(0, 90, along + 1)])  # the equator twice
    longitude = np.linspace(0, 2 * np.pi, around + 1)
    ring = np.stack([np.cos(longitude), np.zeros_like(longitude), -np.sin(longitude)], axis=-1)  # (around + 1, 3)
    normals = np.cos(latitude)[:, None, None] * ring + np.sin(latitude)[:, None, None] * np.array([0.0, 1.0, 0.0])
    upper = np.arange(len(latitude))[:, None, None] > along
    points = radius * normals + np.where(upper, [0.0, length, 0.0], 0.0)
    turn = least_rotation(np.array([[0.0, 1.0, 0.0]]), end[None] / length)[0]
    corner = np.arange(len(latitude) * (around + 1)).reshape(len(latitude), around + 1)
    a, b, c, d = (corner[i : len(latitude) - 1 + i, j : around + j].ravel() for i in (0, 1) for j in (0, 1))
    triangles = np.stack([a, b, d, a, d, c], axis=-1).ravel().astype(np.uint16)
    flat = lambda values: (values.reshape(-1, 3) @ turn.T).astype(np.float32)  # noqa: E731
    return flat(points), flat(normals), triangles
